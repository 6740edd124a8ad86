"""Socket.IO on python-socketio: what its servers and its clients do, in one trace."""
