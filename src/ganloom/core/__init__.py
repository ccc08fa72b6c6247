"""What every other room needs and none of them owns: errors, files, names, lengths, randomness, devices, processes."""
