"""What is compiled for this machine's CPU, in C++: attention, hashing and the loss."""
