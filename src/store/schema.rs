//! The tables as diesel sees them: one set of columns that fits both back ends.
//!
//! Written by hand, because everything is `Text` or `BigInt` on either; `migrations/` says the rest.

#![allow(missing_docs, reason = "the columns are explained in the migrations and in the types they become")]

diesel::table! {
    links (id) {
        id -> BigInt,
        route -> Text,
        task -> Text,
        project -> Nullable<Text>,
        repo -> Text,
        repo_key -> Text,
        number -> BigInt,
        repo_id -> BigInt,
        issue_id -> BigInt,
        issue_node_id -> Text,
        status -> Text,
        seen_tracker -> Nullable<Text>,
        seen_forge -> Nullable<Text>,
        created_at -> BigInt,
        updated_at -> BigInt,
        waiting -> Nullable<Text>,
        base -> Nullable<Text>,
    }
}

diesel::table! {
    tombstones (id) {
        id -> BigInt,
        route -> Text,
        task -> Text,
        repo -> Text,
        repo_key -> Text,
        number -> BigInt,
        reason -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    intents (id) {
        id -> BigInt,
        route -> Text,
        kind -> Text,
        source -> Text,
        source_key -> Text,
        marker -> Text,
        opened_at -> BigInt,
        tried_at -> BigInt,
    }
}

diesel::table! {
    due (id) {
        id -> BigInt,
        route -> Text,
        item -> Text,
        item_key -> Text,
        reason -> Text,
        not_before -> BigInt,
        attempts -> BigInt,
        last_error -> Nullable<Text>,
        parked_at -> Nullable<BigInt>,
        since -> BigInt,
    }
}

diesel::table! {
    passes (id) {
        id -> BigInt,
        route -> Text,
        kind -> Text,
        cause -> Text,
        actor -> Text,
        started_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        result -> Nullable<Text>,
    }
}

diesel::table! {
    history (seq) {
        seq -> BigInt,
        route -> Text,
        at -> BigInt,
        pass -> BigInt,
        link -> Nullable<BigInt>,
        kind -> Text,
        item -> Text,
        item_key -> Text,
        partner -> Nullable<Text>,
        partner_key -> Nullable<Text>,
        cause -> Text,
        actor -> Text,
        previous -> Text,
        hash -> Text,
        changes -> Text,
    }
}

diesel::table! {
    chain (id) {
        id -> BigInt,
        seq -> BigInt,
        hash -> Text,
    }
}

diesel::table! {
    cursors (route, side) {
        route -> Text,
        side -> Text,
        value -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    notes (route, name) {
        route -> Text,
        name -> Text,
        value -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    leases (route) {
        route -> Text,
        holder -> Text,
        token -> BigInt,
        until -> BigInt,
    }
}

diesel::table! {
    /// diesel's own list of the migrations that were applied.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}
