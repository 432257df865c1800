"""Fine-tuning: targets, shadow models, placebos and counterfactual null models."""
