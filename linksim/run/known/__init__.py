"""What a run folder has already: opened to be gone on with, completed, compared with what comes out again."""
