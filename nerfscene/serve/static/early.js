// Before the page is drawn, so that nothing jumps: what needs script shows only where there is one.
document.documentElement.classList.add("js");
if (navigator.share) document.documentElement.classList.add("shares");
