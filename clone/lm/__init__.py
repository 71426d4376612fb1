"""What training and talking must share: the template, the tokens, the weights."""
