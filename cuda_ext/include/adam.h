// Adam (Kingma & Ba, 2015) for one parameter.
#pragma once
#include "desc.h"
#include "platform.h"

NS_BEGIN

// One update, for a number or a vector of numbers. There is no bias correction: rows of the table get their first
// gradient at different times, so no single step count would fit all of them. The corrections matter most at a row's
// first step, and with β1 = 0.9 and β2 = 0.99 they cancel there, because 1 - β1 = √(1 - β2).
template <class T>
NS_HD void adam(const AdamStep& a, T g, T& p, T& m, T& v) {
    g = g + p * a.pull;
    m = m * a.beta1 + g * (1.0f - a.beta1);
    v = v * a.beta2 + g * g * (1.0f - a.beta2);
    p = p - m * a.rate / (Lanes<T>::sqrt(v) + a.epsilon);
}

NS_END
