//! Gateways that ask gateways, over real sockets.

mod damaged;
mod flight;
mod loops;
