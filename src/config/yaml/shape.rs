//! The structure of YAML documents without their lines, by yaml_serde.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::structure::{NODE_WEIGHT, WEIGHT_LIMIT};
use super::{Content, Documents, Node};

impl Documents {
    /// The documents, with empty ones and without the texts of their scalars.
    ///
    /// # Errors
    /// The mistake in the YAML.
    pub(super) fn shape(text: &str) -> Result<Self, serde_yaml::Error> {
        let budget = Cell::new(WEIGHT_LIMIT);
        let documents = serde_yaml::Deserializer::from_str(text);
        let nodes =
            documents.map(|document| Shape(&budget).deserialize(document)).collect::<Result<_, _>>()?;
        Ok(Self { nodes, holders: HashSet::new() })
    }
}

/// Reads a node. It has the remaining weight of all nodes, in bytes.
#[derive(Clone, Copy)]
struct Shape<'b>(&'b Cell<usize>);

impl Shape<'_> {
    fn node<E: Error>(self, content: Content, text: &str) -> Result<Node, E> {
        let left = self.0.get().checked_sub(text.len() + NODE_WEIGHT);
        self.0.set(left.ok_or_else(|| E::custom("repetition limit exceeded"))?);
        Ok(Node { content, ..Node::default() })
    }

    fn scalar<E: Error>(self, text: &str) -> Result<Node, E> {
        self.node(Content::Scalar(String::new()), text)
    }
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.node(Content::Null, "")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        self.scalar("")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.scalar(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        self.node(Content::List(items), "")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while map.next_key_seed(self)?.is_some() {
            entries.push((String::new(), map.next_value_seed(self)?));
        }
        self.node(Content::Map(entries), "")
    }

    /// A value with a custom tag, such as `!Sub`.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        // `! x` only means that x is text.
        if tag == "!" {
            return content.newtype_variant_seed(self);
        }
        content.newtype_variant::<IgnoredAny>()?;
        self.node(Content::Tagged(tag), "")
    }
}
