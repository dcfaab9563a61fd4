/* touchline.js: page views, clicks, forms and who it is, sent to your own ingest service.
 *
 *   <script src="https://in.example.org/v1/touchline.js" data-key="KEY" defer></script>
 *
 * data-url    where to post, when it is not where the script came from
 * data-auto   "off": send only what the page sends itself
 *
 *   touchline.track("demo_booked", {plan: "pro"})       touchline.identify("c-17", {email: "ada@example.org"}, userHash)
 *   touchline.page({section: "pricing"})                touchline.reset()       touchline.flush()
 *   <a data-touchline="demo_booked" data-touchline-plan="pro">        a click on it is that touchpoint
 *
 * userHash is the hexadecimal HMAC-SHA256 of the customer id under the source's identity_secret, made on your server.
 *
 * Everything is queued in localStorage under an id of its own before it is sent and leaves the queue when the service
 * says that it has it, so that offline pages, closed tabs and repeated sending lose and double nothing. With Do Not
 * Track or Global Privacy Control nothing is stored and nothing is sent.
 */
(function (window, document, navigator) {
  "use strict";
  var script = document.currentScript || document.querySelector("script[data-key][src*='touchline.js']");
  if (!script || (window.touchline && window.touchline.loaded)) return;

  var key = script.getAttribute("data-key") || "";
  var base = script.getAttribute("data-url") || script.src.replace(/\/v1\/touchline\.js.*$/, "");
  var address = base.replace(/\/$/, "") + "/v1/beacon?key=" + encodeURIComponent(key);
  var MOST_QUEUED = 1000, MOST_AT_ONCE = 50, MOST_BYTES = 60000;
  var refused = navigator.doNotTrack === "1" || window.doNotTrack === "1" || navigator.globalPrivacyControl === true;
  var memory = {}, sending = false, wait = 0, timer = null;

  function read(name) {
    try {
      var text = window.localStorage.getItem("touchline." + name);
      return text === null ? memory[name] : JSON.parse(text);
    } catch (_) { return memory[name]; }
  }

  function write(name, value) {
    memory[name] = value;
    try {
      if (value === undefined) window.localStorage.removeItem("touchline." + name);
      else window.localStorage.setItem("touchline." + name, JSON.stringify(value));
    } catch (_) { /* storage is full or forbidden: this page's memory has to do */ }
  }

  function uuid() {
    if (window.crypto && window.crypto.randomUUID) return window.crypto.randomUUID();
    var bytes = window.crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    var hex = Array.prototype.map.call(bytes, function (b) { return (b + 256).toString(16).slice(1); }).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  function anonymousId() {
    var id = read("anonymous_id");
    if (!id) write("anonymous_id", (id = uuid()));
    return id;
  }

  function queued() { return read("queue") || []; }

  function track(type, properties, fields) {
    if (refused) return null;
    var touchpoint = {
      id: uuid(), type: type, anonymous_id: anonymousId(), occurred_at: new Date().toISOString(),
      properties: Object.assign({}, properties)
    };
    var customer = read("customer_id");
    if (customer) {
      touchpoint.customer_id = customer;
      if (read("user_hash")) touchpoint.user_hash = read("user_hash");
    }
    Object.assign(touchpoint, fields);
    write("queue", queued().concat([touchpoint]).slice(-MOST_QUEUED));
    later(0);
    return touchpoint.id;
  }

  function page(properties) {
    return track("page_viewed", Object.assign({
      url: window.location.origin + window.location.pathname, title: document.title, referrer: document.referrer
    }, campaign(), properties));
  }

  /* Of the address's query only the campaign is kept: the rest may hold what is nobody's business. */
  function campaign() {
    var found = {};
    try {
      new URLSearchParams(window.location.search).forEach(function (value, name) {
        if (name.indexOf("utm_") === 0) found[name] = value;
      });
    } catch (_) { /* an old browser */ }
    return found;
  }

  function identify(customerId, traits, userHash) {
    if (refused) return null;
    if (customerId) {
      if (read("customer_id") !== String(customerId)) write("user_hash", undefined);
      write("customer_id", String(customerId));
    }
    if (userHash) write("user_hash", String(userHash));
    var fields = { channel: "web" };
    if (traits && traits.email) fields.email = traits.email;
    return track("identified", traits, fields);
  }

  /* Somebody else sits down at this browser: a new anonymous id, nobody known. */
  function reset() {
    write("customer_id", undefined);
    write("user_hash", undefined);
    write("anonymous_id", undefined);
  }

  function later(milliseconds) {
    if (timer !== null) {
      if (milliseconds) return;
      window.clearTimeout(timer);
    }
    timer = window.setTimeout(function () { timer = null; flush(); }, milliseconds);
  }

  function body(most) {
    var touchpoints = queued().slice(0, MOST_AT_ONCE), text;
    do {
      text = JSON.stringify({ sent_at: new Date().toISOString(), touchpoints: touchpoints });
      if (text.length <= most || touchpoints.length === 1) break;
      touchpoints = touchpoints.slice(0, Math.ceil(touchpoints.length / 2));
    } while (true);
    return { text: text, ids: touchpoints.map(function (t) { return t.id; }) };
  }

  function drop(ids) {
    write("queue", queued().filter(function (t) { return ids.indexOf(t.id) < 0; }));
  }

  function flush() {
    if (refused || sending || !queued().length || navigator.onLine === false) return;
    sending = true;
    var batch = body(MOST_BYTES);
    window.fetch(address, {
      method: "POST", body: batch.text, headers: { "Content-Type": "text/plain" }, keepalive: true,
      credentials: "omit", mode: "cors"
    }).then(function (response) {
      sending = false;
      var status = response.status;
      if (response.ok || status === 422 || status === 413) {
        /* Accepted, or never to be: either way there is no use in keeping it. */
        drop(batch.ids);
        wait = 0;
        if (queued().length) later(0);
      } else retry(Number(response.headers.get("Retry-After")) * 1000);
    }, function () { sending = false; retry(0); });
  }

  function retry(least) {
    wait = Math.min(wait ? wait * 2 : 1000, 60000);
    later(Math.max(least || 0, wait * (0.75 + Math.random() / 2)));
  }

  /* The page goes away: what is queued is sent once more without waiting, and stays queued. If it arrived, the next
     page's sending finds its ids known. */
  function leave() {
    if (refused || !queued().length || !navigator.sendBeacon) return;
    navigator.sendBeacon(address, body(MOST_BYTES).text);
  }

  function attributes(element) {
    var found = {};
    Array.prototype.forEach.call(element.attributes, function (attribute) {
      if (attribute.name.indexOf("data-touchline-") === 0) {
        found[attribute.name.slice("data-touchline-".length).replace(/-/g, "_")] = attribute.value;
      }
    });
    return found;
  }

  function watch() {
    document.addEventListener("click", function (event) {
      var element = event.target && event.target.closest && event.target.closest("[data-touchline]");
      if (!element || element.tagName === "FORM") return;
      var properties = attributes(element);
      if (element.href) properties.href = String(element.href);
      track(element.getAttribute("data-touchline"), properties);
    }, true);
    document.addEventListener("submit", function (event) {
      var form = event.target;
      /* Never what was typed: only which form it was. */
      var properties = Object.assign({ form: form.getAttribute("id") || form.getAttribute("name") || "" }, attributes(form));
      track(form.getAttribute("data-touchline") || "form_submitted", properties);
    }, true);
    var shown = window.location.href.split("#")[0];
    function moved() {
      var now = window.location.href.split("#")[0];
      if (now !== shown) { shown = now; page(); }
    }
    ["pushState", "replaceState"].forEach(function (name) {
      var original = window.history[name];
      window.history[name] = function () {
        var result = original.apply(this, arguments);
        moved();
        return result;
      };
    });
    window.addEventListener("popstate", moved);
    page();
  }

  window.touchline = {
    loaded: true, track: track, page: page, identify: identify, reset: reset, flush: flush,
    anonymousId: function () { return refused ? null : anonymousId(); }
  };
  if (refused) return;
  window.addEventListener("online", function () { wait = 0; later(0); });
  window.addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", function () { if (document.visibilityState === "hidden") leave(); });
  if (script.getAttribute("data-auto") !== "off") watch();
  later(0);
})(window, document, navigator);
