"""Datasets of the Hugging Face hub, or of local folders laid out like one: an address, its rows, its errors."""
