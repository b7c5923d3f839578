//! Green sockets.
