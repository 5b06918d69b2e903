"""Trained models as folders for others: plain torch weights, or the format of Hugging Face."""
