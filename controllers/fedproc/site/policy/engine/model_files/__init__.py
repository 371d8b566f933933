"""Files of trained models (npy, npz, safetensors): their arrays, and every byte that is of none."""
