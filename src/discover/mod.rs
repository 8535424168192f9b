//! Objects of many pictures, grouped by how they look: [`appearance`] (one vector per object), [`clustering`] (vectors → groups),
//! [`groups`] (the file that groups live in, and the names they give), [`collection`] (objects as they come, with thumbnails on
//! disk), [`agreement`] (groups against known classes). The gallery is a page of its own, `gallery.html`, which reads the
//! groups from a file beside it.

pub mod agreement;
pub mod appearance;
pub mod clustering;
pub mod collection;
pub mod groups;
