"""The page shell: generic list, detail and action views, the dashboard, search."""
