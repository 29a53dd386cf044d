//! Gateways that ask gateways, over real sockets.

mod loops;
