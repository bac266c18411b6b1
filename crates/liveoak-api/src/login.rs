//! How a browser gets in.

use crate::wire;

wire! {
    /// A one-time address: it gives the browser that opens it a cookie, with which it may do what a caller with the token may do.
    pub struct Login {
        /// The address. It can be opened once.
        pub address: String,
        /// How long it can be opened.
        pub expires_s: f64,
    }
}
