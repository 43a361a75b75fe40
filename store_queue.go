// The queue at rest: envelopes, and one row for each recipient still owed.
package main

// queueSchema holds the queue's tables.
const queueSchema = ``
