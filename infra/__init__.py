"""The deployment: configuration → one CloudFormation stack, with the functions packaged into it."""
