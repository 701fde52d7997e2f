"""Alerts: each report, told to the monitors of its environment; and the metrics that monitors scrape."""
