"""How good a model is, on rows it has never seen: metrics, slices, importances, plots and the model card."""
