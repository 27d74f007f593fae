"""Kubernetes: what the kubelet tells of pods and their devices."""
