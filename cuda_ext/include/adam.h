// Adam (Kingma & Ba, 2015) for one parameter.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

// One update, for a number or a vector of them. No bias correction: rows of the table meet their first
// gradient at any time, so there is no common step count to correct by; with β1 = 0.9 and β2 = 0.99 the
// two corrections cancel at a row's first step ((1-β1) = √(1-β2)), which is where they matter.
template <class T>
NS_HD void adam(const AdamStep& a, T g, T& p, T& m, T& v) {
    g = g + p * a.pull;
    m = m * a.beta1 + g * (1.0f - a.beta1);
    v = v * a.beta2 + g * g * (1.0f - a.beta2);
    p = p - m * a.rate / (Lanes<T>::sqrt(v) + a.epsilon);
}

NS_END
