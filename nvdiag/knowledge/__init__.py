"""What is known beforehand: tables of releases and errors, each row with its source, and a page for each finding."""
