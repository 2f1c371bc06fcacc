"""The figures of a trained model, and the page that shows them."""
