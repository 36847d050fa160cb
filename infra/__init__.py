"""The CDK stack of a deployment, the package that its functions run from, and its cost."""
