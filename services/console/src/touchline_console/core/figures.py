"""What each figure of the console means, in the words of docs/console.md. Pages show these beside the figures."""

DEFINITIONS = {
    "customers": "Everyone with at least one touchpoint. Keys that were merged into a customer are not counted again.",
    "new_customers": "Customers whose first touchpoint occurred in the period.",
    "active": "Customers with an inbound touchpoint in the last 7 days. Touchpoints of machines don't count, nor do "
    "passive ones such as a bounce.",
    "moves": "Changes of stage in the period, over all lifecycles. Entering the first stage is not counted.",
    "stalled": "Customers who are stalled in at least one lifecycle now: no activity for longer than their stage allows.",
    "value": "What a customer paid: the sum of purchased, renewed and upgraded touchpoints, less refunds.",
    "value_at_risk": "The past value of customers at risk: stalled, or slipped back, which is a last move in a lifecycle "
    "that was backward (a regress or a lapse) in the last 90 days. Each customer counts once.",
    "actions": "Actions that plays decided in the period: sent to the customer or system, or held back with a reason.",
    "funnel": "Customers who entered in the period and ever were in this stage or in a later one. The second figure is "
    "the share of those who reached the stage before.",
    "published": "Published average conversion from first contact to purchase, by industry.",
    "flows": "Moves between stages that occurred in the period. Moves back end at the right, in their own colour.",
    "population": "Customers in each stage at the end of each day (UTC).",
    "time_in_stage": "Kaplan-Meier estimate of the share still in the stage after so many days, with a 95 % confidence "
    "band (Greenwood, log-log). Customers who are still inside count as censored: they are not left out.",
    "cohorts": "Customers by month of entry into the lifecycle (UTC): the share that reached the stage, or a later one, "
    "within so many months of their entry.",
    "drop_out": "Customers who are in the stage and stalled, or who left it backward: where the path ends for them.",
    "effort": "Touchpoints by the stage they found the customer in: from the company, from the customer, and feedback "
    "(surveys, reviews, testimonials, complaints) among the latter.",
    "board": "People in the stage now. On the arrows: the share of those who reached a stage and moved on, and, for every 100 "
    "arrivals in the next stage, how many moved back out of it.",
    "median_stay": "The time after which half of those who entered the stage have left it, from the same estimate as the "
    "curve of time in stage.",
    "uplift": "Rate of the treated less rate of the hold-out, with a 95 % confidence interval. Where the interval "
    "contains zero, the data do not show an effect.",
    "reading": "Why a customer buys: approval after a purchase reads as value, three or more purchases at even intervals "
    "as habit, everything else as curiosity.",
    "success_rate": "Attempts with a 2xx answer, or accepted by the mail server, among all attempts in the period.",
}


def define(name: str) -> str:
    """The definition of a figure."""
    return DEFINITIONS[name]
