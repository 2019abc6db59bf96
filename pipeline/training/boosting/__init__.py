"""XGBoost and LightGBM."""
