DROP INDEX links_in_route;
