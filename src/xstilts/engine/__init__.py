"""What runs a step: the model is built (``compose``), trained (``train``) and asked (``predict``). Needs torch."""
