import fedproc_tiny

print(fedproc_tiny.WORD)
