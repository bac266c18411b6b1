//! Times that no spec sets. The defaults of everything that a spec does set stand at its fields in [`spec`](crate::spec).

use std::time::Duration;

/// How long a supervisor without a start deadline waits for failing siblings: as long as the start of a child may take.
pub(crate) const DEPENDENCY_TIMEOUT_OF_A_SUPERVISOR: Duration = Duration::from_secs(30);

/// The shortest delay before a restart after a start that could not even be tried: what prevented it needs time to
/// change.
pub(crate) const UNTRIED_DELAY: Duration = Duration::from_secs(1);
