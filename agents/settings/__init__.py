"""Every hyper-parameter of every learner, as data; imports no torch."""
