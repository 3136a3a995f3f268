"""The steps to which people bring code, as TaskFlow decorators: `@task.mlops_train` and its kin."""
