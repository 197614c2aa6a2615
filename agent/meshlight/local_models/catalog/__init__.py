"""What lies on this machine's disks: headers of model files, the stores of other programs, and the list of models."""
