"""What decisions and erasures ask of the members of audiences."""

FORGET_MEMBER = "DELETE FROM audience_members WHERE customer_id = ANY($1)"

MEMBERSHIPS = "SELECT customer_id, audience FROM audience_members WHERE customer_id = ANY($1)"
