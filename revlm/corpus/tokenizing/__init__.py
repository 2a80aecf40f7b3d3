"""From texts to token ids: worker processes that encode in turns (`workers`)."""
