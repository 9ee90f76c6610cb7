"""MERNet: classify Pancam images of the Mars Exploration Rovers, and search the result."""
