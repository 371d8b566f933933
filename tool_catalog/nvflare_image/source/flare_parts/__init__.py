"""What NVFLARE's own processes import: the parts of the job that its server and its clients build by their names."""
