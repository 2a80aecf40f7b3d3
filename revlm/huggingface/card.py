def model_card(*a): return "x"
