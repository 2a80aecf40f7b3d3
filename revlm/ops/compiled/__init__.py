"""The C++ operations compiled for the machine's CPU, and their build."""
