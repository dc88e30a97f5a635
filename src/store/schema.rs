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
        repo_id -> BigInt,
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
        sent -> Nullable<Text>,
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
        rung -> BigInt,
        request -> Nullable<Text>,
    }
}

diesel::table! {
    deliveries (id) {
        id -> BigInt,
        provider -> Text,
        key -> Text,
        hook -> Nullable<BigInt>,
        event -> Text,
        origin -> Text,
        verdict -> Text,
        note -> Nullable<Text>,
        request -> Text,
        received_at -> BigInt,
        repeats -> BigInt,
        replayed_at -> Nullable<BigInt>,
        headers -> Text,
        body -> Binary,
    }
}

diesel::table! {
    touched (delivery, route, item_key) {
        delivery -> BigInt,
        route -> Text,
        item -> Text,
        item_key -> Text,
    }
}

diesel::table! {
    refusals (provider, reason) {
        provider -> Text,
        reason -> Text,
        count -> BigInt,
        first_at -> BigInt,
        last_at -> BigInt,
        last_from -> Nullable<Text>,
    }
}

diesel::table! {
    hooks (id) {
        id -> BigInt,
        provider -> Text,
        resource -> Text,
        remote -> Nullable<Text>,
        token_hash -> Text,
        target -> Text,
        secret -> Nullable<Text>,
        former_secret -> Nullable<Text>,
        former_until -> Nullable<BigInt>,
        state -> Text,
        pending_until -> BigInt,
        made_at -> BigInt,
        heard_at -> Nullable<BigInt>,
        checked_at -> Nullable<BigInt>,
        trouble -> Nullable<Text>,
    }
}

diesel::table! {
    notices (id) {
        id -> BigInt,
        route -> Text,
        key -> Text,
        task -> Text,
        issue -> Text,
        text -> Text,
        cause -> Text,
        state -> Text,
        at -> BigInt,
        tried_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    calls (id) {
        id -> BigInt,
        key -> Nullable<Text>,
        request -> Text,
        at -> BigInt,
        actor -> Text,
        method -> Text,
        path -> Text,
        reason -> Text,
        digest -> Text,
        status -> Nullable<BigInt>,
        answer -> Nullable<Text>,
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
    credentials (credential) {
        credential -> Text,
        service -> Text,
        book -> Text,
        state -> Text,
        trouble -> Nullable<Text>,
        why -> Text,
        openings -> BigInt,
        since -> BigInt,
        until -> BigInt,
        in_row -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    salt (id) {
        id -> BigInt,
        value -> Text,
    }
}

diesel::table! {
    starts (id) {
        id -> BigInt,
        holder -> Text,
        at -> BigInt,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// diesel's own list of the migrations that were applied.
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(deliveries, touched);
diesel::allow_tables_to_appear_in_same_query!(history, passes);
