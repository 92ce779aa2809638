// SPDX-License-Identifier: GPL-2.0

//! Mutexes that are statics.

/// A static mutex, and a function that initialises it.
macro_rules! global_mutex {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $value:expr; init $init:ident) => {
        kernel::sync::global_lock! {
            $(#[$meta])*
            // SAFETY: Initialised by the function below, which module init calls before there is anybody to use it.
            $vis unsafe(uninit) static $name: Mutex<$type> = $value;
        }

        /// To be called once, by module init.
        $vis fn $init() {
            // SAFETY: See above.
            unsafe { $name.init() }
        }
    };
}
pub(crate) use global_mutex;
