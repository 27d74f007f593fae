"""That a site's thresholds reach all who judge, and that each stands once."""
