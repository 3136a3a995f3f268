"""What goes over the wire: the Open Inference Protocol, MLflow's `/invocations`, labels, refusals."""
