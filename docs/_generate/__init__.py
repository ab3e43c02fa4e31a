"""Pages that are made from the code: fields, commands, modules, models, diagrams."""
