"""Study 1: training attention, and when the shift matters."""
