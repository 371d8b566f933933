"""The page on which a reviewer looks at what may leave: its own small server on the loopback interface."""
