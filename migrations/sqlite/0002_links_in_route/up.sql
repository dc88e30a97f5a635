-- Reading a route's links page by page walked over the links of all other routes.
CREATE INDEX links_in_route ON links (route, id);
