"""What dashboards are made of: frame, panels, PromQL of the catalogue, colours, links."""
